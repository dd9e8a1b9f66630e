"""A whole iBKH in small: all 11 vocabularies and 18 tables, in the columns of the real files."""

VOCABULARIES = {
    "anatomy": ("primary,uberon_id,bto_id,mesh_id,cl_id,name", ["UBERON:1,UBERON:1,,,,brain"]),
    "disease": (
        "primary,name,do_id,kegg_id,pharmgkb_id,mesh_id,umls_cui,icd_10,icd_9,omim_id,iDISK_id",
        [
            "DOID:10652,alzheimer's disease,DOID:10652,H00056,PA443319,D000544,C0002395,G30,331,,",
            "DOID:1307,dementia,DOID:1307,,,D003704,C0497327,F03,,,",
            '"DOID:9,X","sclerosis, lateral",DOID:9,,,,,,,,',
        ],
    ),
    "drug": ("primary,name,drugbank_id", ["DrugBank:DB00843,donepezil,DB00843", "KEGG:D1,other,"]),
    "gene": (
        "primary,symbol,hgnc_id,ncbi_id,pharmgkb_id",
        ["HGNC:613,APOE,613,348,PA55", "HGNC:5,NAN,5,1,PA24356"],
    ),
    "molecule": ("primary,chembl_id,chebi_id", ["CHEMBL:1,1,", "CHEMBL:2,2,"]),
    "symptom": ("primary,name,mesh_id,umls_cui", ["UMLS:C0018681,headache,D006261,C0018681"]),
    "sdsi": ("primary,iDISK_id,name", ["iDISK:DC1,DC1,ginkgo"]),
    "dsp": ("primary,iDISK_id,name", ["iDISK:DP1,DP1,ginkgo pills"]),
    "tc": ("primary,umls_cui,name", ["UMLS:C1,C1,antioxidant"]),
    "pathway": ("primary,reactome_id,name,go_id,kegg_id", ["REACT:R-1,R-1,apoptosis,,"]),
    "side_effect": ("primary,umls_cui,name", ["UMLS:C0018681,C0018681,headache"]),
}
TABLES = {
    # Expression is listed with the gene first, although the file is called A_G.
    "A_G_res": ("Gene,Anatomy,Express,Absent,Source", ["HGNC:613,UBERON:1,1,0,Bgee;TISSUE"]),
    "D_Di_res": (
        "Drug,Disease,Treats,Palliates,Inferred_Relation,Source,Inference_Score",
        [
            "DrugBank:DB00843,DOID:10652,1,0,1,CTD;DRKG;Hetionet,",
            "KEGG:D1,DOID:1307,0,0,1,CTD,342.19",
            "KEGG:D1,DOID:10652,0,0,0,CTD,",
        ],
    ),
    "D_D_res": (
        "Drug_1,Drug_2,Interaction,Resemble,Source",
        ["DrugBank:DB00843,KEGG:D1,1,0,DrugBank"],
    ),
    "D_G_res": ("Drug,Gene,Target,Enzyme,Source", ["DrugBank:DB00843,HGNC:5,1,1,DrugBank"]),
    "D_Pwy_res": ("Drug,Pathway,Association,Source", ["DrugBank:DB00843,REACT:R-1,1,KEGG"]),
    "D_SE_res": ("Drug,Side_Effect,Cause,Source", ["DrugBank:DB00843,UMLS:C0018681,1,SIDER"]),
    "Di_Di_res": (
        "Disease_1,Disease_2,is_a,Resemble,Source",
        ["DOID:10652,DOID:1307,1,0,DO", "DOID:10652,DOID:1307,1,0,Hetionet"],
    ),
    "Di_G_res": (
        "Disease,Gene,Associate,Inferred_Relation,Source,Inference_Score",
        ["DOID:10652,HGNC:613,1.0,0.0,CTD,", 'DOID:10652,HGNC:5,,1.0,CTD,"12.5"'],
    ),
    "Di_Pwy_res": ("Disease,Pathway,Association,Source", ["DOID:10652,REACT:R-1,1,KEGG"]),
    "Di_Sy_res": ("Disease,Symptom,Present,Source", ['"DOID:9,X",UMLS:C0018681,1,Hetionet']),
    "G_G_res": ("Gene_1,Gene_2,Covaries,Interacts,Source", ["HGNC:613,HGNC:5,1,1,Hetionet"]),
    "G_Pwy_res": ("Gene,Pathway,Reaction,Associate,Source", ["HGNC:613,REACT:R-1,1,0,Reactome"]),
    "DSP_SDSI_res": ("DSP,DSI,has_ingredient,Source", ["iDISK:DP1,iDISK:DC1,1,iDISK"]),
    "SDSI_A_res": ("DSI,Anatomy,has_adverse_effect_on,Source", ["iDISK:DC1,UBERON:1,1,iDISK"]),
    "SDSI_D_res": ("DSI,Drug,interacts_with,Source", ["iDISK:DC1,KEGG:D1,1,iDISK"]),
    "SDSI_Di_res": ("DSI,Disease,is_effective_for,Source", ["iDISK:DC1,DOID:10652,1,iDISK"]),
    "SDSI_Sy": ("DSI,Symptom,has_adverse_reaction,Source", ["iDISK:DC1,UMLS:C0018681,1,iDISK"]),
    "SDSI_TC_res": ("DSI,TC,has_therapeutic_class,Source", ["iDISK:DC1,UMLS:C1,1,iDISK"]),
}


def write_ibkh(folder, *, entity="entity", relation="relation"):
    """Write all files; the names of the two folders may be given in either case."""
    for inside, files, end in ((entity, VOCABULARIES, "_vocab"), (relation, TABLES, "")):
        (folder / inside).mkdir(parents=True)
        for name, (header, rows) in files.items():
            text = "\n".join([header, *rows]) + "\n"
            (folder / inside / f"{name}{end}.csv").write_text(text, encoding="utf-8")
    return folder


def append(path, line):
    with path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
